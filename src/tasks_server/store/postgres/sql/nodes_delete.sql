DELETE FROM node WHERE number = ANY(%(numbers)s)
