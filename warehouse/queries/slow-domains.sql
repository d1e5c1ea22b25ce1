-- Where does delivery take longest?
select channel, domain, delivered, median_delivery_seconds, p95_delivery_seconds
from mart.deliverability
where delivered >= 20
order by p95_delivery_seconds desc nulls last, domain
limit 50
