-- name: put_organisation
insert into organisation (organisation_id, name, postal_address, spec)
values (%(organisation_id)s, %(name)s, %(postal_address)s, %(spec)s)
on conflict (organisation_id) do update
set name = excluded.name, postal_address = excluded.postal_address, spec = excluded.spec

-- name: organisation
select organisation_id, name, postal_address, spec from organisation where organisation_id = %(organisation_id)s

-- name: latest_version
select version, digest from campaign_version
where campaign_id = %(campaign_id)s order by version desc limit 1

-- name: put_version
insert into campaign_version (campaign_id, version, organisation_id, digest, spec, templates)
values (%(campaign_id)s, %(version)s, %(organisation_id)s, %(digest)s, %(spec)s, %(templates)s)

-- name: campaign
select campaign_id, version, organisation_id, digest, spec, templates, applied_at from campaign_version
where campaign_id = %(campaign_id)s and (%(version)s::integer is null or version = %(version)s)
order by version desc limit 1

-- name: campaigns
select distinct on (campaign_id) campaign_id, version, organisation_id, digest, spec, templates, applied_at
from campaign_version order by campaign_id, version desc

-- name: create_send
insert into send (send_id, campaign_id, version, due_at, requested_run_at)
values (%(send_id)s, %(campaign_id)s, %(version)s, %(due_at)s, %(requested_run_at)s)
-- Until it begins, a send can still be moved and takes the newest version; afterwards nothing changes it.
on conflict (send_id) do update
set version = excluded.version, due_at = excluded.due_at, requested_run_at = excluded.requested_run_at,
    status = 'scheduled', status_reason = null
where (send.status = 'scheduled'
       and (send.version, send.due_at) is distinct from (excluded.version, excluded.due_at))
   or (send.status = 'failed' and not exists (select from enqueued e where e.send_id = send.send_id))
returning send_id

-- name: send
select send_id, campaign_id, version, due_at, status, requested_run_at, created_at, completed_at, status_reason
from send where send_id = %(send_id)s

-- name: sends
select s.send_id, s.campaign_id, s.version, s.due_at, s.status, s.requested_run_at, s.created_at, s.completed_at,
       s.status_reason
from send s
order by s.created_at desc, s.send_id limit %(limit)s

-- name: request_due_sends
-- Marks the sends that need a run now and returns them; whoever marks first gets the row. A send is asked for
-- again, at most every five minutes, while its run has not begun or work of it is due that nobody does:
-- deferred, released, or left by a dead run; or while nothing is left to do and nobody has closed it. Batches that
-- were planned for later are asked for as soon as their time comes. Asking twice is harmless; the ledger sends once.
update send s
set requested_run_at = now()
where (s.requested_run_at is null or s.requested_run_at < now() - interval '5 minutes'
       or exists (select from batch b where b.send_id = s.send_id and b.status = 'planned'
                  and b.parent_batch_id is null and b.due_at > b.created_at
                  and b.due_at > s.requested_run_at and b.due_at <= now()))
  and ((s.status = 'scheduled' and s.due_at <= now())
       or (s.status = 'sending'
           and exists (select from batch b where b.send_id = s.send_id
                       and (b.status = 'unknown' or (b.status = 'planned' and b.due_at <= now())
                            or (b.status in ('claimed', 'sending') and b.lease_until < now()))))
       or (s.status = 'sending'
           and not exists (select from batch b where b.send_id = s.send_id
                           and b.status in ('planned', 'claimed', 'sending', 'unknown'))))
returning s.send_id, s.requested_run_at

-- name: start_send
update send set status = 'sending'
where send_id = %(send_id)s and status in ('scheduled', 'sending', 'sent')
returning status

-- name: complete_send
-- Only what has nothing waiting and nothing in doubt is sent.
update send set status = 'sent', completed_at = coalesce(completed_at, now())
where send_id = %(send_id)s and status = 'sending'
  and not exists (select from batch where batch.send_id = send.send_id
                  and batch.status in ('planned', 'claimed', 'sending', 'unknown'))
returning send_id

-- name: last_occurrence
select max(due_at) as due_at from send where campaign_id = %(campaign_id)s
