DELETE FROM metadata WHERE owner = :owner AND key = :key AND value = :value AND task = :task
