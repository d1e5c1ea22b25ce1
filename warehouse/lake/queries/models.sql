-- What the runner of models keeps: raw.model_marks.

-- name: mark
select after, refreshed_at, digest from raw.model_marks where model = $model

-- name: is_up_to_date
-- Whether a model was computed as it is defined now ($digest), and since the last load.
select exists (
    from raw.model_marks
    where model = $model and digest = $digest
      and "after" >= coalesce((select max(last_id) from raw.watermarks where feed = 'loads'), -1)
)
