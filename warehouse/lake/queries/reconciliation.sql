-- name: balance
-- A send's messages by state, and what the providers' events say of them.
with state as (
    select m.message_id, arg_max(o.status, o.outcome_id) as status
    from campaign.messages m
    left join core.outcomes o on o.send_id = m.send_id and o.message_id = m.message_id
    where m.send_id = $send_id
    group by m.message_id
), heard as (
    select message_id, bool_or(kind = 'delivered') as is_delivered
    from core.events where send_id = $send_id group by message_id
)
select count(*) as planned,
       count(*) filter (where status = 'accepted') as accepted,
       count(*) filter (where status = 'refused') as refused,
       count(*) filter (where status = 'deferred') as deferred,
       count(*) filter (where status = 'cancelled') as cancelled,
       count(*) filter (where status = 'unknown') as unknown,
       count(*) filter (where status is null) as waiting,
       count(*) filter (where status = 'accepted' and heard.message_id is not null) as confirmed,
       count(*) filter (where status in ('refused', 'cancelled') and is_delivered) as contradicted
from state left join heard using (message_id)

-- name: heard
-- Messages of which a provider told anything: it has them. (What our own pages tell says nothing of the provider.)
select message_id, coalesce(max(provider_message_id), '') as provider_message_id
from raw.provider_events
where message_id in (select unnest($message_ids)) and provider <> 'comms'
group by message_id
