//! Names, shapes and numbers in, the inputs of one run out.

use ort::session::SessionInputValue;
use ort::value::{PrimitiveTensorElementType, TensorRef};

/// The inputs of one run, by name.
pub type Arguments<'a> = Vec<(String, SessionInputValue<'a>)>;

/// A view of `values` as a tensor, as the argument `name`.
pub fn argument<'a, T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
    arguments: &mut Arguments<'a>,
    name: impl Into<String>,
    shape: &[usize],
    values: &'a [T],
) -> Result<(), ort::Error> {
    let tensor = TensorRef::from_array_view((shape.to_vec(), values))?;
    arguments.push((name.into(), tensor.into()));
    Ok(())
}
