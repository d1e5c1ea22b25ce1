-- name: watermark
select xact, last_id from raw.watermarks where feed = $feed

-- name: refresh_events
-- A provider may tell an event again under a new id, so the key is what happened: message, kind, time, link.
-- Where no message of ours is named, its own id of the event must do: one request's id stands for many messages.
-- Callbacks that carry no time of their own (Twilio's) happen once per message, kind and code.
insert into core.events by name
with told as (
    select r.*,
           md5(concat_ws('|', r.provider,
                         coalesce(r.message_id, r.provider_event_id, r.provider_message_id,
                                  concat(r.landing_id, ':', r.position)),
                         r.raw_kind,
                         case when r.occurred_at = r.received_at then '' else epoch_us(r.occurred_at)::varchar end,
                         coalesce(r.url, ''), coalesce(r.code, ''))) as event_id
    from raw.provider_events r
),
fresh as (
    select * from told anti join core.events using (event_id)
    qualify row_number() over (partition by event_id order by received_at, landing_id, position) = 1
)
select f.event_id, coalesce(m.message_id, f.message_id) as message_id, m.send_id, m.contact_id, m.channel,
       f.organisation_id, f.provider, f.kind, f.occurred_at, f.received_at, f.reason, f.code, f.url,
       case when f.kind in ('opened', 'clicked') and f.is_machine then 'machine'
            when f.kind in ('opened', 'clicked') then 'human'
            else 'unknown' end as verdict
from fresh f
left join campaign.messages m on m.message_id = f.message_id
