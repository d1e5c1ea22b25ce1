-- What the runner of models keeps: raw.model_marks.

-- name: mark
select after, refreshed_at, digest from raw.model_marks where model = $model
