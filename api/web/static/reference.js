// Draws the API reference into <div id="reference" data-spec="/path/of/the/specification">.
// The viewer would send the specification to an outside validator; `validatorUrl: null` keeps it here.
const place = document.getElementById("reference");
SwaggerUIBundle({
  domNode: place,
  url: place.dataset.spec,
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // Calls need a proof of possession that a page cannot make; the copyable first call stands in the partner's guide.
  supportedSubmitMethods: [],
});
