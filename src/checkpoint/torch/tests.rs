//! The pickle machine, opcode by opcode. Whole files are tested from Python.

use super::machine::run;
use super::values::Item;

fn result(opcodes: &[u8]) -> Result<Item, String> {
    run(&[b"\x80\x02", opcodes, b"."].concat())
}

fn integer(opcodes: &[u8]) -> u64 {
    result(opcodes).unwrap().count().unwrap()
}

#[test]
fn integers_of_every_size() {
    assert_eq!(integer(b"K\xff"), 255);
    assert_eq!(integer(b"M\x01\x02"), 513);
    assert_eq!(integer(b"J\x00\x00\x01\x00"), 1 << 16);
    assert_eq!(integer(b"\x8a\x00"), 0);
    assert_eq!(integer(b"\x8a\x06\x00\x00\x00\x00\x00\x01"), 1 << 40);
    assert_eq!(integer(b"\x8a\x02\xff\x00"), 255);
    for negative in [&b"J\xff\xff\xff\xff"[..], b"\x8a\x01\xff", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\xff"] {
        assert_eq!(result(negative).unwrap().count().unwrap_err(), "-1 where a size is expected");
    }
}

#[test]
fn tuples_and_the_memo() {
    assert_eq!(result(b"(K\x01K\x02K\x03t").unwrap().counts().unwrap(), [1, 2, 3]);
    assert_eq!(result(b"K\x05q\x07h\x07\x86").unwrap().counts().unwrap(), [5, 5]);
    assert_eq!(result(b"K\x05r\x00\x01\x00\x00j\x00\x01\x00\x00\x86").unwrap().counts().unwrap(), [5, 5]);
    assert!(result(b")").unwrap().counts().unwrap().is_empty());
}

#[test]
fn nothing_is_taken_from_before_a_mark() {
    for opcodes in [&b"K\x01(\x85"[..], b"K\x01K\x02(K\x03\x86", b"NN(R", b"}(s"] {
        assert!(result(opcodes).unwrap_err().ends_with("nothing on the stack"));
    }
}

#[test]
fn errors_say_where() {
    assert!(run(b"").unwrap_err().starts_with("data.pkl, byte 0: it ends in the middle"));
    assert!(result(b"NNi").unwrap_err().starts_with("data.pkl, byte 4: opcode 0x69"));
    assert!(result(b"cos\nsystem\n").unwrap_err().starts_with("data.pkl, byte 2: global os.system; supported"));
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let deepest = |levels| result(&[b")".to_vec(), vec![0x85; levels]].concat());
    assert!(deepest(31).is_ok());
    assert!(deepest(32).unwrap_err().contains("nest more than 32 deep"));
    for opcode in *b"(N" {
        assert!(result(&vec![opcode; 3 << 20]).unwrap_err().contains("values at once"));
    }
}

#[test]
fn a_dictionary_does_not_hold_itself() {
    let Item::Dictionary(entries) = result(b"}q\x00(X\x01\x00\x00\x00ah\x00u").unwrap() else {
        panic!("no dictionary")
    };
    assert!(matches!(entries.borrow()[..], [(Item::Text(_), Item::List)]));
    assert_eq!(std::rc::Rc::strong_count(&entries), 1);
}
