// Shows the OpenAPI document with the copy of Swagger UI that the service itself delivers.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
