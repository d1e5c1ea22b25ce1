-- Where did everybody of each send's audience end up?
-- audience = messages + excluded; messages = accepted + refused + deferred + cancelled + unknown + waiting.
select f.send_id, f.audience, f.excluded, f.messages, f.accepted, f.refused, f.deferred, f.cancelled, f.unknown, f.waiting
from mart.send_funnel f
join campaign.sends s using (send_id)
order by s.due_at desc, f.send_id
limit 50
