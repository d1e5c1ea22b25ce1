-- What a plan that is about to be thrown away looks like. $generation is the one that was planned just now.

-- name: messages
select channel, lane, variant, language, count(*) as messages, sum(segments)::bigint as segments
from campaign.messages where send_id = $send_id and generation = $generation
group by all order by channel, lane, variant, language

-- name: waves
select lane, due_at, count(*) as messages
from campaign.messages where send_id = $send_id and generation = $generation
group by all order by due_at, lane

-- name: later
-- Messages that go later than the send begins, by the hours at which their recipients may be reached.
select m.hours, m.due_at, count(*) as messages,
       count(*) filter (where d.decision = 'deferred') as deferred
from campaign.messages m
left join campaign.decisions d
    on d.send_id = m.send_id and d.contact_id = m.contact_id and d.channel = m.channel
where m.send_id = $send_id and m.generation = $generation and m.due_at > $start::timestamptz + interval 1 minute
group by all order by m.due_at

-- name: excluded_by
-- Contacts without a message among whose reasons is one of $rules.
select count(distinct contact_id)
from campaign.decisions d
where send_id = $send_id and decision = 'excluded'
  and list_has_any(list_transform(rules, rule -> rule.rule_id), $rules)
  and not exists (select 1 from campaign.decisions a where a.send_id = $send_id
                  and a.contact_id = d.contact_id and a.decision <> 'excluded')
