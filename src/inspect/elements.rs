//! Numbers of `TensorProto.DataType` in, what the types are called and how many bits an element has out.

/// The name of a `TensorProto.DataType`, as NumPy spells it where NumPy has it.
pub fn element_name(element: i32) -> String {
    const NAMES: [&str; 24] = [
        "unknown",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "uint4",
        "int4",
        "float4_e2m1",
    ];
    match usize::try_from(element).ok().and_then(|index| NAMES.get(index)) {
        Some(name) => (*name).to_owned(),
        None => format!("element type {element}"),
    }
}

/// Bits of an element of a `TensorProto.DataType`; 0 for text and for what is not known.
pub fn element_bits(element: i32) -> u64 {
    match element {
        21..=23 => 4,
        2 | 3 | 9 | 17..=20 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        _ => 0,
    }
}
