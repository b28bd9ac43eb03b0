"""What endpoints work with."""

from typing import Annotated

from fastapi import Depends, Request

from relay.frames.services import Services


def services_of(request: Request) -> Services:
    """Those of the application that answers the request."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
