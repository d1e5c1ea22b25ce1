-- Saved segments, every version of them.

-- name: latest_version
select version, digest from segment_version
where organisation_id = %(organisation_id)s and name = %(name)s order by version desc limit 1

-- name: put_version
-- The audit row belongs to the change: one statement writes both.
with put as (
    insert into segment_version (organisation_id, name, version, digest, description, definition, applied_by)
    values (%(organisation_id)s, %(name)s, %(version)s, %(digest)s, %(description)s, %(definition)s, %(actor)s)
    returning organisation_id, name, version
)
insert into audit (actor, action, subject, details)
select %(actor)s, 'segment.applied', 'segment:' || organisation_id || '/' || name, jsonb_build_object('version', version)
from put

-- name: segments
-- The latest version of each, of one organisation or (null) of all.
select distinct on (organisation_id, name)
       organisation_id, name, version, digest, description, definition, applied_by, applied_at
from segment_version
where %(organisation_id)s::text is null or organisation_id = %(organisation_id)s
order by organisation_id, name, version desc

-- name: versions
select organisation_id, name, version, digest, description, definition, applied_by, applied_at
from segment_version
where organisation_id = %(organisation_id)s and name = %(name)s
order by version
