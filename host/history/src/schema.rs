//! The file's shape, and how an older file comes to it.

use super::migrate;
use rusqlite::Connection;

/// "ExtM": what says that a database is ours.
const APPLICATION_ID: i64 = 0x4578_744d;
/// The newest version that we know.
pub(super) const VERSION: i64 = 4;
const V3: &str = include_str!("schema_v3.sql");
const V4: &str = include_str!("schema_v4.sql");
const FROM_V1: &str = include_str!("migrate_v1.sql");
/// What stands in the way of version 3 is renamed; then all is copied from there.
const FROM_V2: &str = include_str!("migrate_v2.sql");
const COPY_V2: &str = include_str!("migrate_v2_copy.sql");

/// The version of a file of ours, 0 if it is empty; `None` if it is another program's.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let found = (number("application_id")?, number("user_version")?, tables);
    Ok(match found {
        (APPLICATION_ID, version, _) => Some(version),
        (0, 0, 0) => Some(0),
        _ => None,
    })
}

/// Brings a file of ours, or an empty one, to the newest version, all at once or not at all.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    // The first two are for an empty file. Rows of an hour's minutes are some kilobytes: on smaller pages, much of each would stay empty.
    // Readers go on while a batch is written; a batch is on the disk at the next checkpoint, and whole or not there after a crash. The log
    // beside the file is copied into it once it has 4 MiB. It grows beyond while a reader holds a snapshot, and is cut to 4 MiB after that.
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 512; PRAGMA journal_size_limit = 4194304; PRAGMA cache_size = -16384",
    )?;
    let transaction = connection.transaction()?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let scripts: &[&str] = match version {
        VERSION.. => return transaction.rollback(),
        3 => &[V4],
        2 => &[FROM_V2, V3, COPY_V2, V4],
        1 => &[FROM_V1, FROM_V2, V3, COPY_V2, V4],
        _ => &[V3, V4],
    };
    if version > 0 {
        tracing::info!(
            version,
            "the history is of an older version and is brought to this host's"
        );
        migrate::add_functions(&transaction)?;
    }
    scripts
        .iter()
        .try_for_each(|script| transaction.execute_batch(script))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_file_becomes_ours_and_stays_so() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(version(&connection), Ok(Some(0)));
        for _ in 0..2 {
            prepare(&mut connection).unwrap();
            assert_eq!(version(&connection), Ok(Some(VERSION)));
        }
    }

    #[test]
    fn migration_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("tests/v1.sql")).unwrap();
        connection.execute_batch("DROP TABLE rollup_day").unwrap();
        assert!(prepare(&mut connection).is_err());
        assert_eq!(version(&connection), Ok(Some(1)));
        assert!(connection.prepare("SELECT cause FROM state_span").is_ok());
    }

    #[test]
    fn database_of_another_program_is_known() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(version(&connection), Ok(None));
    }
}
