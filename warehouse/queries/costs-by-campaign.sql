-- What did each campaign cost, and what did it bring?
-- One line per currency: money of different currencies is never added up.
select campaign_id, currency, sum(messages) as messages, sum(segments) as segments, sum(cost_micros) / 1e6 as cost,
       sum(revenue_micros) / 1e6 as revenue, round(sum(revenue_micros) / nullif(sum(cost_micros), 0), 2) as return_on_cost
from mart.costs
group by campaign_id, currency
order by cost desc nulls last, campaign_id
