//! The one door to files that belong to users.
