-- How have providers done in the last 7 days?
select day, provider, lane, accepted, refused, deferred, unknown, delivered, median_delivery_seconds,
       round(refused_rate, 4) as refused_rate, round(unknown_rate, 5) as unknown_rate
from mart.provider_health
where day >= current_date - 7
order by day desc, lane
