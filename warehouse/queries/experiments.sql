-- What have experiments found?
select * from mart.experiments order by all
