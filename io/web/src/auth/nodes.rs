//! What is done with users for other nodes: an administrator's password is confirmed without a session, and all users go
//! into a backup and come out of one.

use axum::http::StatusCode;
use serde_json::Value;

use super::login::login_refused;
use super::users::Book;
use super::{Auth, LoginOutcome, Role, blocking};
use crate::{Peer, Problem};

/// Users of another node, which can be taken over.
#[derive(Debug)]
pub struct OtherUsers(Book);

impl Auth {
    /// Whether `password` is that of the administrator `user`, for one act of a node at `peer`: slowed down after failures and
    /// told of as every login, but no session begins.
    ///
    /// # Errors
    /// `login_refused` when it is not, or there is no such user; `role_too_low` when the user is no administrator.
    pub async fn confirm_administrator(
        &self,
        peer: &Peer,
        user: &str,
        password: String,
    ) -> Result<(), Problem> {
        let checked = self.check_password(peer, user, password).await?;
        let Some(grants) = checked.and_then(|checked| self.shared.users.admit(user, &checked)) else {
            self.refused(user, "password", peer);
            return Err(login_refused());
        };
        if grants.role != Some(Role::Administrator) {
            self.refused(user, "password", peer);
            let detail = format!("{user} is no administrator of this node, and only one may do this");
            return Err(Problem::forbidden("role_too_low", detail));
        }
        self.tell(user, peer, LoginOutcome::Succeeded);
        Ok(())
    }

    /// All users with the hashes of their passwords, and all tokens, in the form in which the node keeps them.
    pub fn kept_users(&self) -> Value {
        self.shared.users.kept()
    }

    /// Reads the users of another node, as [`kept_users`](Self::kept_users) gave them; null is none. Nothing is changed.
    ///
    /// # Errors
    /// `users_unusable` when they are none, or no administrator is among them.
    pub fn read_users(&self, users: &Value) -> Result<OtherUsers, Problem> {
        if users.is_null() {
            return Ok(OtherUsers(Book::default()));
        }
        let unusable = |why: String| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "users_unusable",
                "The users cannot be taken over",
                format!("the users of the backup cannot be taken over: {why}"),
            )
        };
        let book = self.shared.users.read_kept(users).map_err(|error| unusable(error.to_string()))?;
        if !book.users.is_empty() {
            book.check().map_err(|problem| unusable(problem.detail().to_owned()))?;
        }
        Ok(OtherUsers(book))
    }

    /// Takes the users of another node over in the place of this node's; returns how many they are. Who is logged in is logged
    /// out. Where there are none, this node's stay.
    ///
    /// # Errors
    /// When they cannot be kept; nothing is changed then.
    pub async fn take_users(&self, OtherUsers(book): OtherUsers) -> Result<usize, Problem> {
        if book.users.is_empty() {
            return Ok(0);
        }
        let count = book.users.len();
        let before = self.shared.users.with(|book| book.users.keys().cloned().collect::<Vec<_>>());
        let auth = self.clone();
        blocking(move || {
            auth.shared.users.change(|kept| {
                *kept = book;
                Ok(())
            })
        })
        .await??;
        for user in before {
            self.sessions().end_of(&user, None);
        }
        self.changed();
        Ok(count)
    }
}
