//! Look-ups in sets and maps that only the proxy changes.

use portolan_netfilter::SetContents;
use portolan_netfilter::model::{Element, ElementFlags, SetFlags};

/// The element that a key finds.
pub(super) fn find<'a>(contents: &'a SetContents, key: &[u8]) -> Option<&'a Element> {
    let elements = contents.elements.iter();
    let flags = contents.set.flags;
    let found = if flags.contains(SetFlags::INTERVAL | SetFlags::CONCAT) {
        let fields = &contents.set.key.field_lengths;
        elements.filter(|element| !is_catch_all(element)).find(|element| in_box(element, key, fields))
    } else if flags.contains(SetFlags::INTERVAL) {
        in_ranges(&contents.elements, key)
    } else {
        contents.elements.iter().find(|element| !is_catch_all(element) && element.key == key)
    };
    found.or_else(|| contents.elements.iter().find(|element| is_catch_all(element)))
}

fn is_catch_all(element: &Element) -> bool {
    element.flags.contains(ElementFlags::CATCH_ALL)
}

/// Ranges of single fields: each begins at an element and ends before the next greater one that is marked as
/// an end, or, in sets with an explicit end, after it.
fn in_ranges<'a>(elements: &'a [Element], key: &[u8]) -> Option<&'a Element> {
    let below = elements.iter().filter(|element| !is_catch_all(element) && element.key.as_slice() <= key);
    // Where one range ends and another begins at the same key, the beginning counts.
    let nearest = below.max_by(|a, b| (&a.key, !is_end(a)).cmp(&(&b.key, !is_end(b))))?;
    let ended = nearest.key_end.as_ref().is_some_and(|end| end.as_slice() < key);
    (!is_end(nearest) && !ended).then_some(nearest)
}

fn is_end(element: &Element) -> bool {
    element.flags.contains(ElementFlags::INTERVAL_END)
}

/// Ranges field by field; fields are padded to 32 bits.
fn in_box(element: &Element, key: &[u8], fields: &[u32]) -> bool {
    let end = element.key_end.as_ref().unwrap_or(&element.key);
    let mut start = 0;
    fields.iter().all(|length| {
        let field = start..start + *length as usize;
        start += length.next_multiple_of(4) as usize;
        let of = |bytes: &'_ [u8]| bytes.get(field.clone()).map(<[u8]>::to_vec);
        match (of(&element.key), of(key), of(end)) {
            (Some(from), Some(value), Some(to)) => from <= value && value <= to,
            _ => false,
        }
    })
}
