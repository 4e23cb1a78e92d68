"""/v1/products: a lender's own products that are open, as a list's offer names them."""

import msgspec
from litestar import get

from api.access import AnyRequest, client, client_of, request_view
from api.oauth.scopes import Scope
from api.v1.applications import Text
from api.v1.wire import Page
from compliance import ids
from compliance.vocabulary import Language
from partners import loan_math, products
from partners.products import Names
from partners.routing import Product, ProductKind
from partners.terms import Method


class ProductView(msgspec.Struct, frozen=True):
    """A product that is open today, both ends of its ranges included; `daily_rate` is a fraction per day."""

    id: str
    name: Text
    kind: ProductKind
    currency: str
    principal_min_minor: int
    principal_max_minor: int
    instalments_min: int
    instalments_max: int
    daily_rate: str
    method: Method


@get("/v1/products", opt=client(Scope.PRESCREENS), summary="List your open products")
async def list_products(request: AnyRequest) -> Page[ProductView]:
    """The products that you publish with us and that are open today, oldest first, on one page."""
    async with request_view(request) as looking:
        own = await products.open_of(looking, client_of(request).partner)
        titles = await products.titles(looking, {product.id for product in own})
    return Page([view(product, titles[product.id].product) for product in own])


def view(product: Product, names: Names) -> ProductView:
    """A product as its lender sees it."""
    limits = product.limits
    return ProductView(
        id=ids.public("prd", product.id),
        name=Text(names[Language.ZH_CN], names[Language.EN]),
        kind=product.kind,
        currency=product.currency,
        principal_min_minor=limits.principal_min_minor,
        principal_max_minor=limits.principal_max_minor,
        instalments_min=limits.instalments_min,
        instalments_max=limits.instalments_max,
        daily_rate=loan_math.decimal_text(product.daily_rate),
        method=product.method,
    )


routes = [list_products]
