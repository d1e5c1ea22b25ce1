-- What was wrong with imported files?
select i.source_name, i.imported_at, r.reason, r.severity, count(*) as rows, min(r.source_row) as first_row
from raw.contact_rejects r
join raw.contact_imports i using (import_id)
group by all
order by i.imported_at desc, rows desc
limit 100
