-- Which domains take our messages badly?
-- The worst delivery rates among domains with at least 20 accepted messages.
select organisation_id, channel, domain, accepted, delivered, round(delivery_rate, 4) as delivery_rate, bounced, failed,
       deferred_once, median_delivery_seconds
from mart.deliverability
where accepted >= 20
order by delivery_rate nulls last, accepted desc
limit 50
