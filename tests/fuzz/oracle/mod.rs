//! What requests, bodies and descriptions say by the letter. It shares no code with cgrun, and is slow and simple instead.

mod body;
mod json;
mod labels;
mod request;
mod target;

pub use body::{body, is_framed};
pub use json::{Json, first};
pub use labels::{check, contains_name};
pub use request::{Reading, lenient, strict};
pub use target::is_creation;
