-- Many verified webhooks in one go, and which of them were here before.

-- name: see
-- Returns the digests nobody had seen. Ordered, so that two receivers cannot lock each other out.
insert into seen_webhook (provider, digest, expires_at)
select provider, digest, now() + seconds * interval '1 second'
from unnest(%(providers)s::text[], %(digests)b::bytea[], %(seconds)s::float8[]) as seen (provider, digest, seconds)
order by provider, digest
on conflict (provider, digest) do nothing
returning provider, digest

-- name: land
insert into landing (provider, kind, query, body)
select provider, kind, query, body
from unnest(%(providers)s::text[], %(kinds)s::text[], %(queries)s::text[], %(bodies)b::bytea[])
     with ordinality as told (provider, kind, query, body, place)
order by place

-- name: purge
delete from seen_webhook where expires_at < now()
