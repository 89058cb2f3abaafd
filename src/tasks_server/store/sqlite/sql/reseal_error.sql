UPDATE task SET error = 'sealed:' || lower(hex(:sealed)) WHERE seq = :first
