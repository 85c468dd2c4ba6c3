//! Extensions that add arguments to commands of others, a file each. Those that add a command are that command's
//! file.

pub mod binary;
pub mod condstore;
pub mod esearch;
pub mod list_extended;
pub mod list_status;
pub mod literal_plus;
pub mod multiappend;
pub mod qresync;
pub mod searchres;
pub mod special_use;
pub mod utf8;
pub mod within;
