"""Copies of installations: what takes long to make is made once. No tests."""

import shutil
from contextlib import closing

from psycopg import sql

from comms_pipeline.ledger.server import Database, connect_to
from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores


def copy_databases(source: Settings, target: Settings, *databases: Database) -> None:
    """Replace these databases of the target by copies of the source's, and the lake's files if it has any.

    Both are on one server, and nobody may have them open.
    """
    server, model = Stores(target).server, Stores(source).server
    with closing(connect_to(server, "postgres", autocommit=True)) as connection:
        for which in databases:
            names = [sql.Identifier(one.database_name(which)) for one in (server, model)]
            connection.execute(sql.SQL("drop database if exists {}").format(names[0]))
            connection.execute(sql.SQL("create database {} template {}").format(*names))
    if Database.CATALOG in databases:
        shutil.copytree(source.lake_path, target.lake_path)
        # The catalog says where its files are.
        with closing(connect_to(server, server.database_name(Database.CATALOG), autocommit=True)) as catalog:
            catalog.execute(
                "update ducklake_metadata set value = %s where key = 'data_path'", [f"{target.lake_path}/"]
            )
