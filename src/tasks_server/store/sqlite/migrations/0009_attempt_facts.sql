-- What few attempts have to tell beside, sealed: that their response is only the first part, where redirects led.

ALTER TABLE attempt ADD COLUMN facts BLOB;
