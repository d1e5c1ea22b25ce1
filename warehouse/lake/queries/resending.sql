-- Whom to send to again: contacts of a complete send by what became of their message.

-- name: fared
-- What is exhausted met passing faults only; everything else that was refused was refused for a reason.
select distinct m.contact_id
from campaign.messages m
join (select message_id, arg_max(status, outcome_id) as status, arg_max(reason, outcome_id) as reason
      from core.outcomes where send_id = $send_id group by message_id) o using (message_id)
where m.send_id = $send_id
  and case $whom when 'contacts' then list_contains($contact_ids::varchar[], m.contact_id)
                 when 'dead' then o.status = 'refused' and o.reason = 'exhausted'
                 else o.status = 'refused' and coalesce(o.reason, '') <> 'exhausted' end
order by m.contact_id
