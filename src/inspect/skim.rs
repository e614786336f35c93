//! The bytes of an ONNX file in, the same model without its weights out: what lies in the graph's initializers is stepped
//! over, so that of a mapped file of 2 GB only a few pages are read. Small tensors keep their numbers, which shapes may
//! depend on. Nothing comes out of bytes that are no protobuf message: the decoder, which sees them next, says why.

/// Fields of `ModelProto`, `GraphProto` and `TensorProto`.
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
/// `float_data`, `int32_data`, `string_data`, `int64_data`, `raw_data`, `double_data`, `uint64_data`.
const NUMBERS: [u64; 7] = [4, 5, 6, 7, 9, 10, 11];
/// Bytes of a tensor's numbers from which they are weights.
const MOST_BYTES: usize = 16 << 10;

/// One field of a message.
struct Field<'b> {
    number: u64,
    /// Its key, its length and its content.
    whole: &'b [u8],
    /// Its content, where it has a length.
    content: Option<&'b [u8]>,
}

/// The model without its weights.
pub fn without_weights(model: &[u8]) -> Option<Vec<u8>> {
    rewritten(model, GRAPH, &|graph| rewritten(graph, INITIALIZER, &lean_tensor))
}

/// A message in which each field of that number is what `change` makes of it.
fn rewritten(message: &[u8], number: u64, change: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    for field in fields(message) {
        let field = field?;
        match field.content.filter(|_| field.number == number) {
            None => written.extend_from_slice(field.whole),
            Some(content) => {
                let changed = change(content)?;
                push_varint(&mut written, number << 3 | 2);
                push_varint(&mut written, changed.len() as u64);
                written.extend(changed);
            }
        }
    }
    Some(written)
}

fn lean_tensor(tensor: &[u8]) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    for field in fields(tensor) {
        let field = field?;
        let is_weight = NUMBERS.contains(&field.number) && field.content.is_some_and(|bytes| bytes.len() > MOST_BYTES);
        if !is_weight {
            written.extend_from_slice(field.whole);
        }
    }
    Some(written)
}

/// The fields of a message; a last `None` where it is none.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn next_field<'b>(rest: &mut &'b [u8]) -> Option<Field<'b>> {
    let start = *rest;
    let key = varint(rest)?;
    let mut content = None;
    match key & 7 {
        0 => drop(varint(rest)?),
        1 => *rest = rest.get(8..)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            content = Some(rest.get(..length)?);
            *rest = rest.get(length..)?;
        }
        5 => *rest = rest.get(4..)?,
        _ => return None,
    }
    Some(Field { number: key >> 3, whole: start.get(..start.len() - rest.len())?, content })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = rest.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

fn push_varint(written: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        written.push(value as u8 | 0x80);
        value >>= 7;
    }
    written.push(value as u8);
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::lowering::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};

    fn model(bytes: usize) -> ModelProto {
        let tensor = |name: &str, bytes: usize| TensorProto {
            name: name.to_owned(),
            dims: vec![bytes as i64],
            data_type: 2,
            raw_data: Some(vec![7; bytes]),
            ..Default::default()
        };
        let floats = TensorProto { name: "floats".to_owned(), float_data: vec![1.5; bytes], ..Default::default() };
        let graph = GraphProto {
            node: vec![NodeProto { op_type: "Add".to_owned(), ..Default::default() }],
            initializer: vec![tensor("large", bytes), tensor("small", 16), floats],
            name: "graph".to_owned(),
            ..Default::default()
        };
        ModelProto { ir_version: 8, producer_name: "test".to_owned(), graph: Some(graph), ..Default::default() }
    }

    #[test]
    fn weights_go_and_all_else_stays() {
        let whole = model(1 << 20);
        let lean = without_weights(&whole.encode_to_vec()).unwrap();
        assert!(lean.len() < 200, "{}", lean.len());
        let mut expected = whole;
        let initializers = &mut expected.graph.as_mut().unwrap().initializer;
        initializers[0].raw_data = None;
        initializers[2].float_data = Vec::new();
        assert_eq!(ModelProto::decode(&lean[..]).unwrap(), expected);
        let small = model(1 << 10).encode_to_vec();
        assert_eq!(without_weights(&small).unwrap(), small);
    }

    #[test]
    fn what_is_cut_anywhere_is_no_message_or_a_shorter_one() {
        let whole = model(1 << 15).encode_to_vec();
        for end in (0..whole.len()).step_by(97) {
            if let Some(lean) = without_weights(&whole[..end]) {
                assert_eq!(ModelProto::decode(&lean[..]).is_ok(), ModelProto::decode(&whole[..end]).is_ok(), "{end}");
            }
        }
        assert_eq!(without_weights(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
        assert_eq!(without_weights(&[0xff; 11]), None);
        assert_eq!(without_weights(&[0x0b]), None);
    }
}
