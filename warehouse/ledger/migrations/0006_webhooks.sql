-- Webhooks that must not be taken twice: a captured one would else open, lift or suppress again. What is kept is a
-- digest of the provider's own id or token, for as long as its signature would be accepted.
create table seen_webhook (
    provider   text not null,
    digest     bytea not null check (length(digest) = 16),
    expires_at timestamptz not null,
    primary key (provider, digest)
);
create index seen_webhook_expiry on seen_webhook (expires_at);

-- Postgres' own compression takes longer over a post of 500 events than all else together.
do $$
begin
    if 'lz4' = any((select enumvals from pg_settings where name = 'default_toast_compression')::text[]) then
        alter table landing alter column body set compression lz4;
    else
        alter table landing alter column body set storage external;
    end if;
end
$$;
