-- Whether one of the lanes that were paused is paused no more.
SELECT EXISTS (SELECT FROM lane WHERE seq = ANY(%(lanes)s) AND paused_at IS NULL)
