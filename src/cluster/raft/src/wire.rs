//! A look at a message before protobuf 2.28 reads it: that skips groups of unknown fields by calling
//! itself, as deep as they are nested, until the stack is used up (RUSTSEC-2024-0437). What we are sent has
//! no groups, so whatever has one is no message of ours.

/// Fields of a message that are messages themselves.
struct Shape(&'static [(u64, &'static Shape)]);

static FLAT: Shape = Shape(&[]);
static METADATA: Shape = Shape(&[(1, &FLAT)]);
static SNAPSHOT: Shape = Shape(&[(2, &METADATA)]);
static MESSAGE: Shape = Shape(&[(7, &FLAT), (9, &SNAPSHOT)]);

fn take_varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(data: &mut &'a [u8], bytes: u64) -> Option<&'a [u8]> {
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= data.len())?;
    let (taken, rest) = data.split_at(bytes);
    *data = rest;
    Some(taken)
}

fn check(mut data: &[u8], shape: &Shape) -> Option<()> {
    while !data.is_empty() {
        let tag = take_varint(&mut data)?;
        match tag & 7 {
            0 => drop(take_varint(&mut data)?),
            1 => drop(take(&mut data, 8)?),
            5 => drop(take(&mut data, 4)?),
            2 => {
                let bytes = take_varint(&mut data)?;
                let field = take(&mut data, bytes)?;
                if let Some((_, inner)) = shape.0.iter().find(|(number, _)| *number == tag >> 3) {
                    check(field, inner)?;
                }
            }
            _ => return None,
        }
    }
    Some(())
}

/// It has the form of fields, and none of them is a group.
pub fn is_plain(message: &[u8]) -> bool {
    check(message, &MESSAGE).is_some()
}
