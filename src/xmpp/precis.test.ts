import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PrecisError, prepareOpaque, preparePassword, prepareUsername } from './precis.ts'

type Table = Readonly<Record<string, string>>

function takes(prepare: (text: string) => string, table: Table) {
  for (const [text, expected] of Object.entries(table)) {
    test(`${JSON.stringify(text)} is ${JSON.stringify(expected)}`, () =>
      assert.equal(prepare(text), expected))
  }
}

function refuses(prepare: (text: string) => string, table: Table) {
  for (const [text, why] of Object.entries(table)) {
    test(`refuses ${JSON.stringify(text)}: ${why}`, () =>
      assert.throws(() => prepare(text), PrecisError))
  }
}

describe('usernames of RFC 8265 §3.6', () => {
  takes(prepareUsername, {
    'juliet@example.com': 'juliet@example.com',
    fussball: 'fussball',
    fu\u00DFball: 'fu\u00DFball',
    \u03C0: '\u03C0',
    \u03A3: '\u03C3',
    \u03C3: '\u03C3',
    \u03C2: '\u03C2',
  })
  refuses(prepareUsername, {
    'foo bar': 'space',
    '': 'empty',
    henry\u2163: 'compatibility equivalent',
    '\u221E': 'symbol',
  })
})

describe('usernames', () => {
  takes(prepareUsername, {
    STRASSE: 'strasse',
    '\u1E9E': '\u00DF',
    '\u0391\u03A3': '\u03B1\u03C2',
    '\u0130': 'i\u0307',
    '\u0131': '\u0131',
    '\uFF21\uFF42\uFF13': 'ab3',
    '\uFF76\uFF9E': '\u30AC',
    'e\u0301': '\u00E9',
    '\u1112\u1161\u11AB': '\uD55C',
    '\u212A': 'k',
    '\u13A0': '\uAB70',
    '\uAB70': '\uAB70',
    '\u{10400}': '\u{10428}',
    // Leading combining marks are for domain names to refuse.
    '\u0301a': '\u0301a',
    // Virama before joiners; a joiner between letters that would join.
    '\u0915\u094D\u200D\u0937': '\u0915\u094D\u200D\u0937',
    '\u0915\u094D\u200C\u0937': '\u0915\u094D\u200C\u0937',
    '\u0646\u0627\u0645\u0647\u200C\u0627\u06CC': '\u0646\u0627\u0645\u0647\u200C\u0627\u06CC',
    '\u0628\u064E\u200C\u064E\u0627': '\u0628\u064E\u200C\u064E\u0627',
    'col\u00B7lecci\u00F3': 'col\u00B7lecci\u00F3',
    'COL\u00B7LECCI\u00D3': 'col\u00B7lecci\u00F3',
    '\u0375\u03B1': '\u0375\u03B1',
    '\u05D0\u05F3': '\u05D0\u05F3',
    '\u05D0\u05F4\u05D1': '\u05D0\u05F4\u05D1',
    '\u30AB\u30FB\u30CA': '\u30AB\u30FB\u30CA',
    '\u0627\u0661\u0662': '\u0627\u0661\u0662',
    '\u0627\u06F1\u06F2': '\u0627\u06F1\u06F2',
    '\u05D0\u05D1\u05B0': '\u05D0\u05D1\u05B0',
    '\u05D01': '\u05D01',
    '\u05D0-\u05D1': '\u05D0-\u05D1',
  })
  refuses(prepareUsername, {
    'a\u0000': 'control',
    'a\u007F': 'control',
    '\u00A0': 'space',
    '\u3000': 'space, once narrow',
    '\uFB01': 'ligature',
    '\u00B2': 'superscript',
    '\u01C5': 'title case with compatibility equivalent',
    '\u0640': 'tatweel',
    '\u1100': 'lone conjoining jamo',
    '\uFFA1': 'halfwidth jamo',
    '\u200B': 'ignorable',
    '\u00AD': 'ignorable',
    '\uFE0F': 'variation selector',
    '\u034F': 'combining grapheme joiner',
    '\uFFFF': 'noncharacter',
    '\uE000': 'private use',
    '\uD800': 'lone surrogate',
    '\u0378': 'unassigned',
    '\u20AC': 'symbol',
    'a\u200Db': 'joiner without virama',
    '\u200D': 'joiner at the start',
    '\u0915\u200D\u0937': 'joiner without virama',
    '\u3099\u200Da': 'a mark that is no virama',
    '\u05B0\u200D': 'a mark that is no virama',
    'a\u200Cb': 'non-joiner between letters that do not join',
    '\u0627\u200C\u0628': 'non-joiner after a letter that joins to the right only',
    '\u0628\u200Ca': 'non-joiner before a letter that does not join',
    'l\u00B7': 'middle dot at the end',
    'a\u00B7l': 'middle dot after another letter',
    '\u0375': 'keraia at the end',
    '\u0375a': 'keraia before Latin',
    '\u05F3\u05D0': 'geresh at the start',
    'a\u05F4': 'gershayim after Latin',
    'a\u30FBb': 'katakana middle dot without Japanese',
    '\u0627\u0661\u06F1': 'both kinds of Arabic digits',
    '\u05D0a': 'left-to-right letter in right-to-left string',
    'a\u05D0': 'right-to-left letter in left-to-right string',
    '1\u05D0': 'digit at the start of a right-to-left string',
    '\u05D0-': 'neutral at the end of a right-to-left string',
    '\u06271\u0661': 'European and Arabic numbers together',
    '\u0661': 'Arabic number at the start',
    '\u0301\u05D0': 'mark at the start of a right-to-left string',
  })
})

describe('passwords of RFC 8265 §4.3', () => {
  takes(preparePassword, {
    'correct horse battery staple': 'correct horse battery staple',
    'Correct Horse Battery Staple': 'Correct Horse Battery Staple',
    '\u03C0\u00DF\u00E5': '\u03C0\u00DF\u00E5',
    'Jack of \u2666s': 'Jack of \u2666s',
    'foo\u1680bar': 'foo bar',
  })
  refuses(preparePassword, { '': 'empty', 'my cat is a \u0009by': 'control' })
})

describe('opaque strings', () => {
  takes(prepareOpaque, {
    ' foo ': ' foo ',
    '\u00A0\u3000\u2003': '   ',
    'A\u030A': '\u00C5',
    '\u212B': '\u00C5',
    \uFF21: '\uFF21',
    '\u2163\uFB01\u00B2': '\u2163\uFB01\u00B2',
    '\u{1F600}': '\u{1F600}',
    '\u05D0a': '\u05D0a',
    '\uFDFA': '\uFDFA',
  })
  refuses(prepareOpaque, {
    'a\n': 'control',
    '\u2028': 'line separator',
    '\u200B': 'ignorable',
    '\u{1F468}\u200D\u{1F469}': 'joiner without virama',
    '\u0640': 'tatweel',
    '\u{1F600}\uFE0F': 'variation selector',
    '\u{E0001}': 'tag',
    '\uFDD0': 'noncharacter',
    '\uE000': 'private use',
    '\uDC00': 'lone surrogate',
    '\u0378': 'unassigned',
    '\u00B7': 'middle dot out of context',
  })
})
