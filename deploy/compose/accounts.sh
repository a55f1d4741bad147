#!/bin/sh
# Run by the image of PostgreSQL when it makes the database: an account for each part, by the secret it comes with.
# `quizstream migrate` gives the roles their rights.
set -eu

password() { sed 's|^[^:]*://[^:]*:\([^@]*\)@.*$|\1|' "/run/secrets/$1"; }

psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 \
    --set worker="$(password worker_url)" --set reader="$(password reader_url)" <<'SQL'
CREATE ROLE quizstream_writer NOLOGIN;
CREATE ROLE quizstream_reader NOLOGIN;
CREATE ROLE quizstream_operator NOLOGIN;
CREATE ROLE quizstream_worker LOGIN PASSWORD :'worker' IN ROLE quizstream_writer;
CREATE ROLE quizstream_read LOGIN PASSWORD :'reader' IN ROLE quizstream_reader;
ALTER ROLE quizstream_read SET default_transaction_read_only = on;
SQL
