import time, duckdb, psycopg, pytest
from datetime import datetime, UTC, timedelta
import polars as pl
from comms_pipeline.lake.lake import Lake
from comms_pipeline.ledger.server import Database

def kill(admin):
    admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname=current_database() and pid<>pg_backend_pid()")

def test_a(stores, tmp_path):
    lake=stores.lake
    with psycopg.connect(stores.server.conninfo(Database.CATALOG), autocommit=True) as admin:
        c=lake.connect()
        c.execute("begin")
        c.execute("select count(*) from raw.watermarks where feed='dead'").fetchall()
        kill(admin)
        try: c.execute("select count(*) from raw.watermarks where feed='d'").fetchall()
        except Exception as e: print("MID", type(e), str(e)[:200])
        for i in range(2):
            try: c.execute("rollback")
            except Exception as e: print("RB", type(e), str(e)[:200])
        try: print(c.execute("select count(*) from raw.watermarks where feed='d'").fetchall())
        except Exception as e: print("again", type(e), str(e)[:200])
        c.close()
        print("closed")
        # idle pool then
        kill(admin)
        for i in range(3):
            try:
                t=time.time()
                with lake.reader() as c: print(c.execute("select count(*) from raw.watermarks where feed='d'").fetchall())
            except Exception as e: print("KILLED", type(e), str(e)[:200])
            print(time.time()-t)
        # writer: killed before commit
        for when in ("before","after"):
            c=lake.connect()
            c.execute("begin")
            if when=="after": c.execute("insert into raw.watermarks values ('x',1,1,now())")
            kill(admin)
            if when=="before":
                try: c.execute("insert into raw.watermarks values ('x',1,1,now())")
                except Exception as e: print("INS", type(e), str(e)[:200])
            try: c.execute("commit")
            except Exception as e: print("COMMIT", type(e), str(e)[:200])
            try: c.execute("rollback")
            except Exception as e: print("RB", type(e), str(e)[:200])
            c.close()
            print("closed writer", when)
        with lake.reader() as c: print(c.execute("select count(*) from raw.watermarks where feed='x'").fetchall())
        ro=stores.lake_read_only
        try:
            with ro.writer() as w: w.append("raw.watermarks", pl.DataFrame({"last_id":[1],"feed":["dead"],"xact":[1],"loaded_at":[datetime.now(UTC)]}))
        except Exception as e: print("RO", type(e), e)
        with ro.reader() as c:
            print(c.execute("select database_name, path from duckdb_databases()").fetchall())
        ro.close()
        print(repr(lake), stores)
        moved=Lake(catalog=stores.server.conninfo(Database.CATALOG), data_path=tmp_path/"elsewhere", extension_folder=tmp_path/"e2")
        try: moved.connect()
        except Exception as e: print("MOVED", e)

def test_b(stores, tmp_path):
    c=Lake(catalog=stores.server.conninfo(Database.LEDGER), data_path=tmp_path/"l", extension_folder=tmp_path/"e", is_read_only=True)
    try: c.connect()
    except Exception as e: print("NOTMADE", e)
    conf={"extension_directory": str(tmp_path/"home/duckdb_extensions")}
    con=duckdb.connect(config=conf); con.execute("load ducklake; load postgres_scanner")
    for cat in (stores.server.conninfo(Database.LEDGER), stores.server.conninfo(Database.CATALOG)+"x", stores.server.conninfo(Database.CATALOG), "host=127.0.0.1 port=1 user=u password=PWPWPW dbname=x"):
        for o in (", READ_ONLY",""):
            try: con.execute(f"attach '{'ducklake:postgres:'+cat.replace(chr(39),chr(39)*2)}' as l (DATA_PATH '{tmp_path}/l2'{o})"); print("attached?!"); con.execute("detach l")
            except Exception as e: print(type(e), e)
    con.close()
