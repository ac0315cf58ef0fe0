import { describe, expect, it } from 'vitest';
import { bytes, codecName, length } from './format';
import { addressesOf, configFor, forNode, idFor } from './newcamera';
import { faultOf } from './password';
import { may, mayAt } from './rights';

describe('rights', () => {
  it('are the higher one of everywhere and there', () => {
    const grants = { role: 'viewer' as const, cameras: { gate: 'operator' as const } };
    expect(mayAt(grants, 'gate', 'operator')).toBe(true);
    expect(mayAt(grants, 'dock', 'operator')).toBe(false);
    expect(mayAt(grants, 'dock', 'viewer')).toBe(true);
    expect(may(grants, 'operator')).toBe(false);
    expect(mayAt({ role: 'administrator', cameras: { gate: 'viewer' } }, 'gate', 'administrator')).toBe(true);
  });

  it('are none where nothing was given', () => {
    expect(may({ role: null }, 'viewer')).toBe(false);
    expect(mayAt({ role: null, cameras: {} }, 'toString', 'viewer')).toBe(false);
  });
});

describe('a camera that was found', () => {
  it('gets an id that a node takes and nobody has', () => {
    expect(idFor('North Gate', new Set())).toBe('north-gate');
    expect(idFor('North Gate', new Set(['north-gate', 'north-gate-2']))).toBe('north-gate-3');
    expect(idFor('Überwachung Süd', new Set())).toBe('uberwachung-sud');
    expect(idFor('---', new Set())).toBe('camera');
    expect(idFor('日本', new Set())).toBe('camera');
    for (const name of ['x'.repeat(99), '../../etc', ' 1 ', 'a'.repeat(26) + ' b']) {
      expect(idFor(name, new Set())).toMatch(/^[a-z0-9][a-z0-9._-]{0,30}$/);
    }
  });

  it('is added with the login only where there is one', () => {
    const item = { id: 'd1', address: '192.0.2.1', onvif: 'http://192.0.2.1', name: '', model: 'X-1', added: false };
    expect(configFor(item, { user: '', password: '' }, new Set())).toEqual({ id: 'x-1', name: 'X-1', onvif: 'http://192.0.2.1' });
    expect(configFor(item, { user: 'u', password: 'p' }, new Set())).toMatchObject({ user: 'u', password: 'p' });
  });

  it('is sent without what is empty or only read, but with what is meant to be removed', () => {
    expect(forNode({ id: 'a', name: '', schedule: [], password: null, has_password: true, editable: true, revision: 3, audio: false }))
      .toEqual({ id: 'a', password: null, audio: false });
  });

  it('is looked for at addresses as people write them', () => {
    expect(addressesOf(' 192.0.2.0/24, 198.51.100.7\n2001:db8::1 ')).toEqual(['192.0.2.0/24', '198.51.100.7', '2001:db8::1']);
    expect(addressesOf('  ')).toEqual([]);
  });
});

describe('a new password', () => {
  it('is refused before the node would', () => {
    expect(faultOf('admin', 'short', 'short')).toBe('tooShort');
    expect(faultOf('administrator', 'Administrator', 'Administrator')).toBe('isUser');
    expect(faultOf('admin', 'correct horse battery', 'correct horse batterY')).toBe('differ');
    expect(faultOf('admin', 'correct horse battery', 'correct horse battery')).toBeNull();
  });

  it('is measured in bytes, as the node measures it', () => {
    expect(faultOf('admin', 'äöüäöü', 'äöüäöü')).toBeNull();
  });
});

describe('for people', () => {
  it('a length has the two units that matter', () => {
    expect([40, 4_200, 59_900, 250_000, 7_380_000, 93_600_000].map(length)).toEqual(['40 ms', '4.2 s', '60 s', '4 min 10 s', '2 h 3 min', '1 d 2 h']);
  });

  it('a size has three digits', () => {
    expect([0, 999, 1000, 212_000_000, 999_700_000].map(bytes)).toEqual(['0 B', '999 B', '1.0 kB', '212 MB', '1.0 GB']);
  });

  it('a codec has the name that is on the box', () => {
    expect(['h265', 'hvc1.1.6.L93.B0', 'avc1.640028', 'av01'].map(codecName)).toEqual(['H.265', 'H.265', 'H.264', 'av01']);
  });
});
