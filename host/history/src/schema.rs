//! The file's shape, and how an older file comes to it.

use super::migrate;
use rusqlite::{Connection, TransactionBehavior};

/// "ExtM": what says that a database is ours.
pub(super) const APPLICATION_ID: i64 = 0x4578_744d;
/// The newest version that we know.
pub(super) const VERSION: i64 = 3;
const V3: &str = include_str!("schema_v3.sql");

/// Whose database this is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's yet: it is empty.
    Nobody,
    /// Ours, of this version.
    Us(i64),
    /// Another program's.
    Other,
}

pub(super) fn owner(connection: &Connection) -> rusqlite::Result<Owner> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(
        match (number("application_id")?, number("user_version")?, tables) {
            (APPLICATION_ID, version, _) => Owner::Us(version),
            (0, 0, 0) => Owner::Nobody,
            _ => Owner::Other,
        },
    )
}

/// Brings a file of ours, or an empty one, to the newest version, all at once or not at all.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION.. => return transaction.rollback(),
        1 | 2 => {
            tracing::info!(
                version,
                "the history is of an older version and is brought to this host's"
            );
            migrate::to_v3(&transaction, version, V3)?;
        }
        _ => transaction.execute_batch(V3)?,
    }
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
        assert_eq!(owner(&connection), Ok(Owner::Nobody));
        for _ in 0..2 {
            migrate(&mut connection).unwrap();
            assert_eq!(owner(&connection), Ok(Owner::Us(VERSION)));
        }
    }

    #[test]
    fn migration_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("tests/v1.sql")).unwrap();
        connection.execute_batch("DROP TABLE rollup_day").unwrap();
        assert!(migrate(&mut connection).is_err());
        assert_eq!(owner(&connection), Ok(Owner::Us(1)));
        assert!(connection.prepare("SELECT cause FROM state_span").is_ok());
    }

    #[test]
    fn database_of_another_program_is_known() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(owner(&connection), Ok(Owner::Other));
    }
}
