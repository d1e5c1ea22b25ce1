-- Which events belong to no message we know of?
-- Messages sent past this product through the same account, or of an installation whose data is gone.
select provider, kind, count(*) as events, min(received_at) as first_at, max(received_at) as last_at
from core.events
where match = 'unmatched'
group by provider, kind
order by events desc, provider, kind
