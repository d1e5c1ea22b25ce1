-- Who wrote to us lately, and may therefore be answered in free text.

-- name: note_inbound
insert into last_inbound (channel, address_key)
values (%(channel)s, %(address_key)s)
on conflict (channel, address_key) do update set at = greatest(last_inbound.at, excluded.at)

-- name: open_windows
-- The keys come as one value, 16 bytes each: a list of thousands would cost more than the question.
select address_key from last_inbound
where channel = %(channel)s and at > now() - %(window)s::interval
  and address_key = any(array(
      select substring(%(address_keys)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(address_keys)s::bytea) / 16 - 1) as n))

-- name: free_texts
-- Those that are not the provider's own template.
select content_id from content
where content_id = any(%(content_ids)s::text[]) and coalesce(body ->> 'content_sid', '') = ''

-- name: purge_inbound
delete from last_inbound where channel = %(channel)s and at < now() - %(window)s::interval
