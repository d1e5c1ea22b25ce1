-- One row per applied version of a saved segment; applying the latest content again adds none, going back to an
-- earlier one does. What refers to a segment means its latest version.
create table segment_version (
    organisation_id text not null references organisation,
    name            text not null check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    version         integer not null,
    digest          text not null,
    description     text not null,
    definition      jsonb not null,
    applied_by      text not null,
    applied_at      timestamptz not null default now(),
    primary key (organisation_id, name, version)
);
