//! What is drawn stays inside the picture and says what it should.

use super::*;

#[test]
fn the_same_caption_draws_the_same_picture_and_another_moves() {
    for scene in [Scene::Calm, Scene::Noisy] {
        let mut one = Picture::new(640, 360, scene).unwrap();
        let mut other = Picture::new(640, 360, scene).unwrap();
        let caption = Caption { name: "gate north", at: WallTime::from_ticks(0), counter: 77 };
        one.draw(Caption { counter: 5, ..caption });
        let before = one.luma().to_vec();
        one.draw(caption);
        other.draw(caption);
        assert_eq!(one.luma(), other.luma());
        assert_ne!(one.luma(), before);
        assert_eq!(read_counter(one.luma(), 640, 640, 360), Some(77));
    }
}

#[test]
fn every_size_that_is_allowed_can_be_drawn() {
    let name = "a name that is longer than any picture is wide and not ASCII: Überwachung Überwachung";
    for (width, height) in [(320, 160), (322, 162), (480, 270), (1280, 720), (1920, 1080), (2160, 2160)] {
        for scene in [Scene::Calm, Scene::Noisy] {
            let mut picture = Picture::new(width, height, scene).unwrap();
            for counter in [0, 999_999, u64::MAX] {
                picture.draw(Caption { name, at: WallTime::MAX, counter });
                let low = u32::try_from(counter & 0xffff_ffff).ok();
                assert_eq!(read_counter(picture.luma(), width, width, height), low);
            }
        }
    }
    assert!(Picture::new(318, 240, Scene::Calm).is_err());
    assert!(Picture::new(640, 361, Scene::Calm).is_err());
}

#[test]
fn the_clock_is_shown_to_the_millisecond() {
    let mut text = String::new();
    write_clock(&mut text, "2026-11-21T22:05:00.123456Z".parse().unwrap());
    assert_eq!(text, "2026-11-21 22:05:00.123");
}
