-- Which campaigns compare anything.

-- name: tested_versions
-- Versions that share contacts out among variants or hold some back; of one campaign, or of all.
select campaign_id, version, spec from campaign_version
where (%(campaign_id)s::text is null or campaign_id = %(campaign_id)s)
  and (jsonb_array_length(coalesce(spec -> 'variants', '[]')) > 1 or coalesce((spec ->> 'holdout')::float8, 0) > 0)
order by campaign_id, version
