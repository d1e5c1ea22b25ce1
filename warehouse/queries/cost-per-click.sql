-- What does a click by a person cost, by lane?
select lane, currency, sum(cost_micros) / 1e6 as cost, sum(human_clicked) as human_clicked,
       round(sum(cost_micros) / nullif(sum(human_clicked), 0) / 1e6, 4) as cost_per_human_click
from mart.costs
group by lane, currency
order by cost_per_human_click desc nulls last, lane
