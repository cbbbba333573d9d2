import { el, keep, say } from './dom.js'

/**
 * A table that stays while its rows change; on narrow screens each row is a card. An optional column is
 * shown when its rows differ in it; a compact card has no line for each column.
 *
 * @template Row
 * @param {{
 *   caption: string, none: string, isCompact?: boolean,
 *   key(row: Row): string,
 *   columns: { name: string, isMain?: boolean, isNumber?: boolean, isOptional?: boolean, text?(row: Row): string, show?(cell: Element, row: Row): void }[],
 *   actions?: (row: Row) => { name: string, about: string, isDangerous?: boolean, act(row: Row): void }[],
 * }} options
 * @returns {{ root: HTMLElement, show(rows: readonly Row[]): void }}
 */
export function table({ caption, none, isCompact = false, key, columns, actions }) {
  const body = el('tbody', { role: 'rowgroup' })
  const heads = columns.map(({ name, isNumber }) =>
    el(isNumber ? 'th.number' : 'th', { scope: 'col', role: 'columnheader' }, name),
  )
  const last = el('th', { scope: 'col', role: 'columnheader' }, el('span.hidden', {}, 'Actions'))
  const grid = el(
    'table',
    // Without rows it is none, and there are none yet.
    { role: 'table', hidden: true },
    el('caption.hidden', {}, caption),
    el(
      'thead',
      { role: 'rowgroup' },
      el('tr', { role: 'row' }, ...heads, actions ? last : undefined),
    ),
    body,
  )
  const empty = el('p.none', { hidden: true }, none)
  const root = el(isCompact ? 'div.table.compact' : 'div.table', {}, grid, empty)

  const make = () => {
    const cells = columns.map(({ name, isMain, isNumber }) => {
      const tag = isMain ? 'th.main' : isNumber ? 'td.number' : 'td'
      const role = isMain ? 'rowheader' : 'cell'
      return el(tag, { role, 'data-label': name, scope: isMain && 'row' })
    })
    return el('tr', { role: 'row' }, ...cells, actions && el('td.actions', { role: 'cell' }))
  }
  const update = (line, row) => {
    columns.forEach(({ text, show }, i) => {
      const cell = line.children[i]
      if (show) show(cell, row)
      else say(cell, text(row))
    })
    if (!actions) return
    keep(line.lastElementChild, actions(row), {
      key: ({ name }) => name,
      make: ({ name, about, isDangerous, act }) =>
        el(
          isDangerous ? 'button.small.danger' : 'button.small',
          { type: 'button', 'aria-label': about, onclick: () => act(row) },
          name,
        ),
    })
  }
  return {
    root,
    show(rows) {
      keep(body, rows, { key, make, update })
      columns.forEach(({ isOptional, text }, i) => {
        if (!isOptional) return
        const isHidden = new Set(rows.map((row) => text(row))).size < 2
        for (const line of grid.rows) line.cells[i].hidden = isHidden
      })
      grid.hidden = rows.length === 0
      empty.hidden = rows.length > 0
    },
  }
}

/** A cell with a word in a colour. */
export function badge(kindOf, textOf = kindOf) {
  return (cell, row) => {
    const mark = cell.firstElementChild ?? cell.appendChild(el('span.badge'))
    say(mark, textOf(row))
    mark.setAttribute('data-kind', kindOf(row))
  }
}
