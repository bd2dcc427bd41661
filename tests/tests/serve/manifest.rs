//! What a manifest says of its library is what the host does with it.

use crate::answers::plugin;
use crate::served::Place;
use serde_json::json;

/// Touches a frame of this many bytes, page by page from the top as a compiler's probes do.
fn frame(bytes: usize) -> String {
    format!(
        "volatile char frame[{bytes}]; for (size_t at = sizeof frame; at >= 4096; at -= 4096) {{ frame[at - 1] = 1; }}"
    )
}

#[test]
fn library_that_asks_to_stay_is_resident_after_its_unload_and_loads_again() {
    let place = Place::default();
    let stays = plugin("stays", "1.0.0", "here").says_of_itself("unload = \"never\"");
    place.put(&stays.build(place.path()), "stays.so");
    let host = place.serve("");
    host.until_ready();
    let (_, body) = host.change("stays", "unload");
    assert_eq!(body["data"]["unload"]["reason"], "asked-to-stay", "{body}");
    assert_eq!(host.mapped_plugins(), 1, "the verdict is a lie");
    let (status, body) = host.change("stays", "load");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("running")),
        "{body}"
    );
    assert_eq!(host.call("stays.ask", "", b"x").0, 200);
    host.stop();
}

#[test]
fn frame_of_four_mebibytes_fits_a_lane_by_default() {
    let place = Place::default();
    let deep = plugin("deep", "1.0.0", "fits").in_invoke(frame(4 << 20));
    place.put(&deep.build(place.path()), "deep.so");
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.call("deep.ask", "", b"x").0, 200);
    host.stop();
}

#[test]
fn frame_of_24_mebibytes_fits_a_lane_whose_manifest_declares_32() {
    let place = Place::default();
    let deep = plugin("deep", "1.0.0", "fits")
        .in_invoke(frame(24 << 20))
        .declares("[threads]\nstack_bytes = 33554432\n");
    place.put(&deep.build(place.path()), "deep.so");
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.call("deep.ask", "", b"x").0, 200);
    host.stop();
}
