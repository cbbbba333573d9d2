/** Elements, made without markup: text stays text whatever strangers wrote. */

/**
 * @param {string} tag With classes behind dots: `p.note`.
 * @param {Record<string, unknown>} [attributes] `on…` are listeners; `undefined` and `false` are left out.
 * @param {...(Node | string | undefined)} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.')
  return fill(document.createElement(name), classes, attributes, children)
}

/** Attributes of inputs for addresses and the like, which no browser should mend. */
export const NO_PROSE = { autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false' }

/** As `el`, of SVG. */
export function svg(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.')
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  return fill(element, classes, attributes, children)
}

function fill(element, classes, attributes, children) {
  if (classes.length > 0) element.classList.add(...classes)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children.filter((child) => child !== undefined))
  return element
}

/**
 * Makes the children of `parent` those of `items`, in their order. Those that were there stay the
 * elements they are, so that focus and what was opened stay with them.
 *
 * @template Item
 * @param {Element} parent
 * @param {readonly Item[]} items
 * @param {{ key(item: Item): string, make(item: Item): Element, update?(element: Element, item: Item): void }} how
 */
export function keep(parent, items, { key, make, update }) {
  const before = new Map(
    [...parent.children].map((child) => [child.getAttribute('data-key'), child]),
  )
  let next = parent.firstElementChild
  for (const item of items) {
    const name = key(item)
    let element = before.get(name)
    before.delete(name)
    if (element === undefined) {
      element = make(item)
      element.setAttribute('data-key', name)
    }
    update?.(element, item)
    if (element === next) next = next.nextElementSibling
    else parent.insertBefore(element, next)
  }
  for (const gone of before.values()) gone.remove()
}

/** Leaves alone what says this already. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text
}
