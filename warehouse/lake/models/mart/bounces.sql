/* ---
description: Why messages came back or were given up, by domain and the provider's code.
grain: one organisation, channel, domain, bounce class and code
key: [organisation_id, channel, domain, bounce_class, code]
group: deliverability
owner: team:analysts
incremental: organisation_id
freshness_hours: 26
chart: {name: bounces_by_class, of: sum(messages), by: bounce_class}
figures:
  bounces: sum(messages)
columns:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel:
  domain: {type: varchar, description: "As in mart.deliverability: e-mail domain or calling code, small ones together.", tests: [not_null]}
  bounce_class: {type: varchar, description: "invalid: nobody is there; mailbox: it is full or out of use; blocked: not from us, or not now; spam: taken for spam; transient: a passing fault that did not pass; other: all else.", tests: [not_null, {accepted: [invalid, mailbox, blocked, spam, transient, other]}]}
  code: {type: varchar, description: "SMTP status (RFC 3463), SMTP reply or Twilio error as the provider told it; empty where it told none.", tests: [not_null]}
  messages: {type: bigint, unit: messages, description: "Messages that bounced or failed in the end, each by what was told last.", tests: [not_null]}
--- */

-- name: changed
select organisation_id from core.message_status
where load_id > $after and (bounced_at is not null or failed_at is not null)

-- name: model
-- A code's class is that of its longest known beginning; only a code that says nothing leaves it to words.
with of_code (beginning, bounce_class) as (
    values ('4', 'transient'), ('421', 'transient'), ('45', 'transient'),
           ('5.1.', 'invalid'), ('5.1.8', 'blocked'), ('5.2.', 'mailbox'), ('5.3.', 'other'), ('5.4.', 'transient'),
           ('5.4.4', 'invalid'), ('5.5.', 'other'), ('5.6.', 'other'), ('5.7.', 'blocked'),
           ('550', 'invalid'), ('551', 'invalid'), ('552', 'mailbox'), ('553', 'invalid'), ('554', 'blocked'),
           -- Twilio: api/errors
           ('20', 'transient'), ('21211', 'invalid'), ('21408', 'blocked'), ('21610', 'blocked'), ('21614', 'invalid'),
           ('21635', 'invalid'), ('30001', 'transient'), ('30002', 'blocked'), ('30003', 'mailbox'),
           ('30004', 'blocked'), ('30005', 'invalid'), ('30006', 'invalid'), ('30007', 'spam'), ('30008', 'transient'),
           ('30022', 'transient'), ('30023', 'blocked'), ('30027', 'blocked'), ('30032', 'blocked'),
           ('30034', 'blocked'), ('30035', 'blocked'), ('30047', 'transient'), ('30410', 'transient'),
           ('30610', 'blocked'), ('63003', 'invalid'), ('63013', 'spam'), ('63016', 'blocked'), ('63017', 'transient'),
           ('63018', 'transient'), ('63024', 'invalid'), ('63033', 'blocked'), ('63038', 'blocked'),
           ('63049', 'blocked')
),
of_word (words, bounce_class) as (
    -- SendGrid drops what it would not send, and names only a reason.
    values ('bounced address', 'invalid'), ('invalid', 'invalid'), ('unsubscribed address', 'blocked'),
           ('spam reporting address', 'blocked'), ('spam content', 'spam'), ('recipient list over package quota', 'blocked')
),
by_code as (
    select f.organisation_id, f.channel, f.domain, coalesce(f.failure_code, '') as code, f.failure_kind as kind,
           contains(lower(f.failure_reason), 'spam') and f.failure_kind <> 'rejected' as is_called_spam,
           -- Other reasons are free text: hardly two alike.
           w.bounce_class as class_of_words, count(*) as messages
    from core.message_facts f
    semi join changed using (organisation_id)
    left join of_word w on w.words = lower(trim(f.failure_reason))
    where f.is_bounced or f.is_failed
    group by all
),
codes as (
    select c.code, arg_max(o.bounce_class, len(o.beginning)) as bounce_class
    from (select distinct code from by_code) c join of_code o on starts_with(c.code, o.beginning)
    group by c.code
)
select b.organisation_id, b.channel, b.domain,
       case when b.is_called_spam and coalesce(c.bounce_class, 'blocked') = 'blocked' then 'spam'
            else coalesce(c.bounce_class, b.class_of_words, if(b.kind in ('blocked', 'rejected'), 'blocked', 'other'))
       end as bounce_class,
       b.code, sum(b.messages)::bigint as messages
from by_code b
left join codes c using (code)
group by all
