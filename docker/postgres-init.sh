#!/bin/bash
# Runs once, when the volume is empty: two databases, each with an owner that can't enter the other's.
set -euo pipefail

psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv thermocline_password HOT_DB_PASSWORD
\getenv dagster_password DAGSTER_DB_PASSWORD

CREATE ROLE thermocline LOGIN PASSWORD :'thermocline_password';
CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE thermocline OWNER thermocline;
CREATE DATABASE dagster OWNER dagster;

REVOKE CONNECT, TEMPORARY ON DATABASE thermocline, dagster, postgres, template1 FROM PUBLIC;
SQL
