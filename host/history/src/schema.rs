//! The file's shape, and the steps from each version to the next.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// "ExtM": what says that a database is ours.
pub(super) const APPLICATION_ID: i64 = 0x4578_744d;
/// What leads to each version from the one before; the first from nothing. What is released stays as it is.
const STEPS: &[&str] = &[include_str!("schema_v1.sql"), include_str!("schema_v2.sql")];
/// The newest version that we know.
pub(super) const VERSION: i64 = STEPS.len() as i64;

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
    migrate_by(connection, STEPS)
}

fn migrate_by(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0).min(steps.len());
    if done == steps.len() {
        return transaction.rollback();
    }
    steps[done..]
        .iter()
        .try_for_each(|step| transaction.execute_batch(step))?;
    mark(&transaction, steps.len() as i64)?;
    transaction.commit()
}

fn mark(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "ALTER TABLE ledger ADD COLUMN note TEXT; UPDATE ledger SET note = 'was ' || value;";

    fn ours() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(owner(&connection), Ok(Owner::Nobody));
        migrate(&mut connection).unwrap();
        connection
            .execute("INSERT INTO ledger VALUES ('a', 1, 'b')", [])
            .unwrap();
        connection
    }

    #[test]
    fn a_later_version_keeps_what_is_there() {
        let mut connection = ours();
        migrate(&mut connection).unwrap();
        assert_eq!(owner(&connection), Ok(Owner::Us(VERSION)));
        migrate_by(&mut connection, &[STEPS, &[NEXT]].concat()).unwrap();
        assert_eq!(owner(&connection), Ok(Owner::Us(VERSION + 1)));
        let note: String = connection
            .query_row("SELECT note FROM ledger", [], |row| row.get(0))
            .unwrap();
        assert_eq!(note, "was b");
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let mut connection = ours();
        assert!(migrate_by(&mut connection, &[STEPS, &[NEXT, "SELECT nonsense"]].concat()).is_err());
        assert_eq!(owner(&connection), Ok(Owner::Us(VERSION)));
        assert!(connection.prepare("SELECT note FROM ledger").is_err());
    }

    #[test]
    fn another_programs_database_is_known() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(owner(&connection), Ok(Owner::Other));
    }
}
